/* Preloaded into a process under test: writes into a book what its disk has promised to keep.
 *
 * A line for each file that was synced, with its size before the sync, and one for each folder, with what was in it:
 *     F <inode> <size>
 *     D <inode> /<name>/<inode>/<name>/<inode>...
 * and one for each file that is deleted or replaced, for its number may be given to another:
 *     U <inode>
 * A line is one write to a file opened to append, so threads do not mix theirs. No line is written for a sync that failed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE 65536

static int book = -1;

__attribute__((constructor)) static void open_book(void) {
    const char *path = getenv("DRIFTLOG_TEST_SYNCED");
    book = path == NULL ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void note(const char *line, int length) {
    if (book >= 0 && (length >= LINE || write(book, line, length) != length)) abort();
}

static int listed(int fd, unsigned long inode, char *line) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    DIR *folder = opendir(path);
    int length = snprintf(line, LINE, "D %lu ", inode);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL && length < LINE;)
        if (entry->d_name[0] != '.' || entry->d_name[1] != '\0')
            length += snprintf(line + length, LINE - length, "/%s/%lu", entry->d_name, (unsigned long)entry->d_ino);
    if (folder != NULL) closedir(folder);
    return length < LINE ? length + snprintf(line + length, LINE - length, "\n") : length;
}

static int synced(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    char line[LINE];
    struct stat found;
    int length = 0;
    if (fstat(fd, &found) == 0) {
        unsigned long inode = found.st_ino;
        if (S_ISDIR(found.st_mode)) length = listed(fd, inode, line);
        if (S_ISREG(found.st_mode)) length = snprintf(line, LINE, "F %lu %lld\n", inode, (long long)found.st_size);
    }
    int result = real(fd);
    if (result == 0 && length > 0) note(line, length);
    return result;
}

static void gone(const char *path) {
    struct stat found;
    char line[64];
    if (lstat(path, &found) == 0) note(line, snprintf(line, sizeof line, "U %lu\n", (unsigned long)found.st_ino));
}

int fsync(int fd) { return synced(fd, "fsync"); }

int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int unlink(const char *path) {
    gone(path);
    return ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
}

int rename(const char *from, const char *to) {
    gone(to);
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}

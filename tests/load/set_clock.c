/* Preloaded into a process under test: its time of day is wrong by what a file says, and is set again while it runs.
 *
 * The file holds eight bytes: by how many nanoseconds, signed. Clocks that only go on, by which durations are measured, stay as they are. Who waits until a
 * moment of the day waits for that moment on the clock as it is then, as in a kernel: a clock that is set back keeps him waiting.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define SLICE (SECOND / 50) /* how late a clock that was set is noticed */

static const volatile int64_t right = 0;
static const volatile int64_t *wrong = &right;

__attribute__((constructor)) static void open_file(void) {
    const char *path = getenv("DRIFTLOG_TEST_CLOCK");
    if (path == NULL) return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *found = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (found == MAP_FAILED) abort();
    close(file);
    wrong = found;
}

static int64_t of(const struct timespec *moment) { return moment->tv_sec * SECOND + moment->tv_nsec; }

static struct timespec at(int64_t nanoseconds) {
    return (struct timespec){.tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND};
}

static int64_t kernel(clockid_t clock) {
    struct timespec now;
    syscall(SYS_clock_gettime, clock, &now);
    return of(&now);
}

static int64_t today(void) { return kernel(CLOCK_REALTIME) + *wrong; }

/* -- what time is it? */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *now = at(of(now) + *wrong);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    int64_t found = today();
    *now = (struct timeval){.tv_sec = found / SECOND, .tv_usec = found % SECOND / 1000};
    return 0;
}

time_t time(time_t *now) {
    time_t found = (time_t)(today() / SECOND);
    if (now != NULL) *now = found;
    return found;
}

int timespec_get(struct timespec *now, int base) {
    if (base != TIME_UTC) return 0;
    *now = at(today());
    return base;
}

/* -- waiting until a moment: in slices of real time, for the clock may be set meanwhile */

/* A condition may have been made to wait by the clock that only goes on (Python's are): then the moment is near that one. */
static int by_day(const struct timespec *until) {
    return llabs(of(until) - kernel(CLOCK_MONOTONIC)) > llabs(of(until) - today());
}

static void *next(const char *name, const char *version) {
    void *found = dlvsym(RTLD_NEXT, name, version);
    return found != NULL ? found : dlsym(RTLD_NEXT, name);
}

#define IN_SLICES(wait, timed_out)                                            \
    for (;;) {                                                                \
        int64_t left = of(until) - today();                                   \
        struct timespec slice = at(kernel(CLOCK_REALTIME) + (left < 0 ? 0 : left < SLICE ? left : SLICE)); \
        int answer = wait;                                                    \
        if (!(timed_out) || of(until) <= today()) return answer;              \
    }

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (real == NULL) real = next("pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!by_day(until)) return real(condition, mutex, until);
    IN_SLICES(real(condition, mutex, &slice), answer == ETIMEDOUT)
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    if (real == NULL) real = dlsym(RTLD_NEXT, "cnd_timedwait");
    IN_SLICES(real(condition, mutex, &slice), answer == thrd_timedout)
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    static int (*real)(pthread_mutex_t *, const struct timespec *);
    if (real == NULL) real = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    IN_SLICES(real(mutex, &slice), answer == ETIMEDOUT)
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    static int (*real)(sem_t *, const struct timespec *);
    if (real == NULL) real = dlsym(RTLD_NEXT, "sem_timedwait");
    IN_SLICES(real(semaphore, &slice), answer != 0 && errno == ETIMEDOUT)
}

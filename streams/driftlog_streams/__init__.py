"""The merge worker of Driftlog: a core without I/O, and the rim that runs it on Faust, RocksDB and Kafka."""

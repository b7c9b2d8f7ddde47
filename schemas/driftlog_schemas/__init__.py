"""The wire contract of Driftlog: messages, Avro codecs, registry, topics, and the compiled app."""

"""The read model once more from the op topic, by the same merge core as the workers', beside them and without touching anything of theirs."""

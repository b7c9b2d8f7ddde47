"""Every small history of the algebra, judged by the reference model: three replicas, up to four ops, nothing left to chance."""

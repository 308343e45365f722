from curate.plugins.clusterers.column import Column
from curate.plugins.interfaces import traits


def test_declares_that_it_reads_a_column():
    assert traits(Column).reads == {"column"}
    assert Column(column="topic").column == "topic"

from curate.plugins.clusterers.column import Column
from curate.plugins.interfaces import get_traits


def test_declares_that_it_reads_a_column():
    assert get_traits(Column).reads == {"column"}
    assert Column(column="topic").column == "topic"

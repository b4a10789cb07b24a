"""What reading a file of somebody else's may take at most."""

from pi0_ros.data import bag, mcap_records, table_size


def test_bounds_leave_room_for_a_long_run_and_for_the_rest_of_a_computer_with_8_gigabytes():
    """Messages and tables of two gigabytes, texts of one, chunks of half a one, a message as large as a raw 4K picture twice."""
    gigabyte = 1024**3
    assert bag.MAX_MESSAGES == table_size.MAX_VALUES * 8 == 2 * gigabyte
    assert table_size.MAX_TEXT == mcap_records.MAX_RECORD == bag.ROOM == gigabyte
    assert gigabyte // 2 == mcap_records.MAX_CHUNK and bag.MAX_MESSAGE == 64 * 1024**2 > 2 * 3840 * 2160 * 3

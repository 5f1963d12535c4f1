"""Which messages are shown when subscriptions overlap."""

from gobbler.cli.client.once import REMEMBERED, Once


class TestOnce:
    def test_without_overlap_everything_is_shown(self) -> None:
        once = Once()
        once.add("/foo/bar")
        once.add("/foo/baz")
        assert [once.is_new("/foo/bar", 1), once.is_new("/foo/bar", 1)] == [True, True]

    def test_with_overlap_a_message_is_shown_once(self) -> None:
        once = Once()
        once.add("/foo")
        once.add("/foo/bar")
        assert [once.is_new("/foo/bar", 1), once.is_new("/foo/bar", 1)] == [True, False]
        assert once.is_new("/foo/bar", 2)

    def test_another_partition_has_ids_of_its_own(self) -> None:
        once = Once()
        for path in ("/foo", "/foo/bar", "/other", "/other/bar"):
            once.add(path)
        assert [once.is_new("/foo/bar", 1), once.is_new("/other/bar", 1)] == [True, True]

    def test_a_new_subscription_shows_again_what_it_replays(self) -> None:
        once = Once()
        once.add("/foo")
        once.add("/foo/bar")
        assert once.is_new("/foo/bar", 1)
        once.add("/foo/baz")
        assert once.is_new("/foo/bar", 1)

    def test_the_overlap_ends_with_a_subscription(self) -> None:
        once = Once()
        once.add("/foo")
        once.add("/foo/bar")
        assert once.is_new("/foo/bar", 1)
        once.remove("/foo/bar")
        assert [once.is_new("/foo/bar", 1), once.is_new("/foo/bar", 1)] == [True, True]

    def test_it_remembers_so_many_and_no_more(self) -> None:
        once = Once()
        once.add("/foo")
        once.add("/foo/bar")
        assert all(once.is_new("/foo/bar", id) for id in range(REMEMBERED + 1))
        assert once.is_new("/foo/bar", 0)
        assert not once.is_new("/foo/bar", 2)

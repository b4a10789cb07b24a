"""What a network still computes when its node has been deactivated is not published."""

import threading

from pi0_ros.ros.activation import Activation


def test_something_may_be_published_until_the_activation_ends_and_never_again():
    activation = Activation()
    with activation.publishing() as allowed:
        assert allowed
    activation.end()
    assert activation.over
    with activation.publishing() as allowed:
        assert not allowed


def test_an_end_waits_for_what_is_being_published():
    activation, ended = Activation(), threading.Event()

    def end():
        activation.end()
        ended.set()

    with activation.publishing() as allowed:
        thread = threading.Thread(target=end)
        thread.start()
        assert allowed and not ended.wait(0.05) and not activation.over
    thread.join(60.0)
    assert ended.is_set() and activation.over

"""The control core and a policy in virtual time, on any robot with the methods of `robot.py`; and replays of recordings. No simulator here."""

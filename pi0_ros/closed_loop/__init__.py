"""The control core and a policy in virtual time, on any robot that can be asked; and recordings run again. No simulator here."""

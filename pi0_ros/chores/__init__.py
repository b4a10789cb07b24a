"""Chores: blocks of several shapes that are grasped by contact and put into bins, and a room with two tables and a
shelf.

The things on the table (`scenery`) and how they lie (`layout`), what the physics says of them (`measure`), the task
(`tasks`), a scripted operator (`grasping`, `operator`) and its recordings (`collect`). Nothing is welded to a gripper:
what is held is held by friction. The room (`room`, `room_layout`), driving in it (`driving`, `drive_task`), putting
things away (`tidying`, `tidy_task`), the operator (`room_operator`) and its recordings (`room_collect`).
"""

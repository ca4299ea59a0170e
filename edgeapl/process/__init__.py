"""Child processes that may crash or hang without taking the program with them.

The parent holds a `child.ChildProcess`, and a `supervisor.Supervisor` where it is started again
after its end; the child holds a `parent.Parent`. Small messages pass through pipes as `messages`
says, arrays through `memory`. `program` runs what is not ours.
"""

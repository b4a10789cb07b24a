"""π0 and π0.5 policies on ROS 2 robots."""

import pkgutil

# The interfaces that rosidl generates install a second part of this same package;
# without this line a checkout shadows them.
__path__ = pkgutil.extend_path(__path__, __name__)

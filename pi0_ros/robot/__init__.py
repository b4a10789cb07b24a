"""What a robot is: channels, groups, cameras and limits, from one YAML and its URDF."""

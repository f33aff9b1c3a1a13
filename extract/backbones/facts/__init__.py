"""What is published about backbones beyond what their libraries tell, as a table with sources."""

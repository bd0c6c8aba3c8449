"""Copies that standing orders want on stores of ours: to stay there, or to be carried to a peer on disks."""

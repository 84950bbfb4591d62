"""VRAM by arithmetic: the memory of the fullest GPU in parts."""

"""Placements as task files of the engines that rent machines everywhere: dstack and SkyPilot."""

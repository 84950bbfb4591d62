"""Why a forecast says what it says, worked out only for those who ask."""

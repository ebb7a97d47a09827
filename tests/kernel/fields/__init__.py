"""A case for every field that a user can write: `core` for what all drivers share, one module a driver or kind more."""

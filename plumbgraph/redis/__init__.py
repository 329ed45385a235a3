"""Redis and Valkey: clients for both colours, commands as values, the Lua library."""

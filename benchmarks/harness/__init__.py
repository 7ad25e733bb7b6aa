"""How the systems are measured: their venvs, their processes, what is read off Redis, and the rounds."""

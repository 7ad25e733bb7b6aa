"""Who may do what: API keys, their scopes, and what the API keeps about its callers. Pure rules and ports."""

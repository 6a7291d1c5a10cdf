"""A certified OAuth2 server on loopback: npm's oidc-provider, with a client for each way to authenticate."""

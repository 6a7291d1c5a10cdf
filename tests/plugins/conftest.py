"""The distributions here are other people's: their tests run where they are installed, by tests/security/test_plugins.py."""

collect_ignore = ["acme_backend", "acme_provider"]

"""One adapter a client: it turns a live source into what its client takes, at each use, and alone imports that client."""

"""The offline tour: a scripted agent in a real bottle against a local pretend API."""

"""The egress proxy: mitmproxy embedded, default-deny, every hook guarded."""

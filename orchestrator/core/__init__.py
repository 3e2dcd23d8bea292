"""The life of one service, as pure functions over values. Imported by supervise and above."""

"""The shim and its spawner: programs of their own, standard library only."""

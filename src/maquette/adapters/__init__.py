"""What is trained: whole modules, or small adapters beside frozen ones; and the files they become."""

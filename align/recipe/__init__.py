"""What a person wrote: schema, loading, errors with positions, and the plan."""

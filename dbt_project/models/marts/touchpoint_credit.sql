{{ credit_of_touches('not is_cancelled') }}

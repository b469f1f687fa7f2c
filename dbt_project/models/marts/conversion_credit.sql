{{ credit_of_conversions('not is_cancelled', ref('touchpoint_credit')) }}

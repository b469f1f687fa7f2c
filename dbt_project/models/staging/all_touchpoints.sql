{{ union_of_sources('touchpoints', var('touchpoint_sources')) }}

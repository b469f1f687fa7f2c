{#- Every touchpoint once, with its channel and the customer that the visitor turned out to be.
    A view: what it costs is paid by the journeys, which read it once. -#}

{{ staged_touchpoints(ref('all_touchpoints')) }}

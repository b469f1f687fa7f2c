{#- A coalition has room for 240 channels; one beyond would silently belong to none. -#}

select channel
from {{ ref('stg_channels') }}
where channel_index >= 240

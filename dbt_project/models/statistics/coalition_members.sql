select coalitions.coalition_id, channels.channel_index
from {{ ref('coalitions') }} as coalitions
inner join {{ ref('stg_channels') }} as channels
    on
        case
            {% for word in range(4) -%}
            when channels.channel_index between {{ 60 * word }} and {{ 60 * word + 59 }}
                then coalitions.coalition_{{ word }} & {{ bit('channels.channel_index - ' ~ 60 * word) }}
            {% endfor -%}
        end <> 0

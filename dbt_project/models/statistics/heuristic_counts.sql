{#- Credit of the heuristics per channel and replicate group, ready-made sums for intervals. -#}

with shares as (

    select * from {{ ref('heuristic_shares') }}

),

segmented as (

    {{ by_segment('shares') }}

)

{% set heuristics = ['first_touch', 'last_touch', 'last_non_direct', 'linear', 'position_based', 'time_decay'] -%}
{% for heuristic in heuristics if heuristic in var('models') %}
select
    '{{ heuristic }}' as model,
    shares.segment,
    shares.segment_value,
    shares.goal,
    shares.replicate_group,
    shares.channel_index,
    cast(sum(shares.{{ heuristic }} * instants.conversions) as decimal(38, 12)) as conversions,
    sum(cast(cast(shares.{{ heuristic }} as double) * cast(instants.revenue as double) as decimal(38, 12))) as revenue
from segmented as shares
inner join {{ ref('conversion_instants') }} as instants
    on
        shares.customer_key = instants.customer_key
        and shares.goal = instants.goal
        and shares.converted_at = instants.converted_at
        and instants.conversions > 0
group by
    shares.segment, shares.segment_value, shares.goal, shares.replicate_group, shares.channel_index
{{ 'union all' if not loop.last }}
{%- endfor %}

{#- The segments of every journey, one below the other. A column's twenty most frequent values stay, the
    rest are (other): every value costs a fit. -#}
{%- set attributes = ref('journey_attributes') %}
{{- check_segments(attributes) }}

with named as (
    {%- for segment in var('segments') %}

    select
        customer_key,
        goal,
        journey_start,
        '{{ segment }}' as segment,
        coalesce(nullif(trim(cast({{ segment }} as string)), ''), '(unknown)') as segment_value
    from {{ attributes }}
    {%- if not loop.last %}

    union all
    {%- endif %}
    {%- else %}

    select
        customer_key,
        goal,
        journey_start,
        cast(null as string) as segment,
        cast(null as string) as segment_value
    from {{ attributes }}
    where false
    {%- endfor %}

),

ranked as (

    select
        segment,
        segment_value,
        row_number() over (partition by segment order by count(*) desc, segment_value) as place
    from named
    group by segment, segment_value

)

select
    named.customer_key,
    named.goal,
    named.journey_start,
    named.segment,
    case when ranked.place <= 20 then named.segment_value else '(other)' end as segment_value
from named
inner join ranked
    on named.segment = ranked.segment and named.segment_value = ranked.segment_value

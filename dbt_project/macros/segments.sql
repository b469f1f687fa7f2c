{#- Rows of journeys for the whole, and once more for each segment that the journey belongs to. -#}
{% macro by_segment(rows) -%}
    select 'all' as segment, 'all' as segment_value, {{ rows }}.*
    from {{ rows }}
    {%- if var('segments') %}

    union all

    select segments.segment, segments.segment_value, {{ rows }}.*
    from {{ rows }}
    inner join {{ ref('journey_segments') }} as segments
        on
            {{ rows }}.customer_key = segments.customer_key
            and coalesce({{ rows }}.goal, '') = coalesce(segments.goal, '')
            and {{ rows }}.journey_start = segments.journey_start
    {%- endif %}
{%- endmacro %}


{#- A segment that is no column is named before the engine stumbles over it. -#}
{% macro check_segments(attributes) -%}
    {%- if execute -%}
        {%- set known = adapter.get_columns_in_relation(attributes) | map(attribute='name') | list -%}
        {%- for segment in var('segments') if known and segment not in known -%}
            {{ exceptions.raise_compiler_error(
                "segments: " ~ segment ~ " is no column of journey_attributes ("
                ~ known[3:] | join(', ') ~ ")"
            ) }}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{#- One row a journey. Its coalition, the set of its channels, stands in words of 60 bits. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=["{{ forget_changed_customers() }}", "{{ close_journeys() }}"],
) }}

select
    customer_key,
    max(replicate_group) as replicate_group,
    goal,
    journey_start,
    case
        when max(conversions) > 0 then 'converted'
        when max(converted_at) is not null then 'cancelled'
        when max(closes_at) > max(as_of) then 'open'
        else 'null'
    end as outcome,
    count(*) as touchpoints,
    max(conversions) as conversions,
    max(fit_weight) as fit_weight,
    max(case when position = 1 then channel_index end) as first_channel_index,
    max(case when is_last then channel_index end) as last_channel_index,
    {% for word in range(4) -%}
    bit_or(
        case
            when channel_index between {{ 60 * word }} and {{ 60 * word + 59 }}
                then {{ bit('channel_index - ' ~ 60 * word) }}
            else 0
        end
    ) as coalition_{{ word }},
    {% endfor -%}
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    max(converted_at) as converted_at,
    max(closes_at) as closes_at,
    bool_or(is_in_window) as is_in_window
from (
    select
        touches.*,
        {{ days_before('-1 * (' ~ lookback_days('touches.goal') ~ ')', 'touches.occurred_at') }}
            as closes_at,
        run.as_of
    from {{ ref('journey_touchpoints') }} as touches
    cross join {{ source('ledger', '_run') }} as run
    {%- if is_incremental() %}
    where {{ is_built_now('touches') }}
    {%- endif %}
) as touches
group by customer_key, goal, journey_start

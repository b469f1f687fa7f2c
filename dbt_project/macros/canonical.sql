{#- The canonical columns that every source model of an export must yield, in this order. -#}
{% macro canonical_columns(export) -%}
    {{ return({
        'touchpoints': [
            'touchpoint_id', 'customer_id', 'occurred_at', 'channel', 'source', 'medium',
            'campaign', 'interaction', 'mode', 'cost', '_file_id', '_row',
        ],
        'conversions': [
            'conversion_id', 'customer_id', 'converted_at', 'goal', 'revenue', 'currency',
            'status', '_file_id', '_row',
        ],
        'spend': ['date', 'channel', 'cost', 'campaign', 'currency', '_file_id', '_row'],
    }[export]) }}
{%- endmacro %}


{#- All sources of an export, one below the other: the models stg_<export>__<source>. -#}
{% macro union_of_sources(export, sources) -%}
    {%- set columns = canonical_columns(export) | join(', ') -%}
    {%- for source in sources %}
    select {{ columns }}
    from {{ ref('stg_' ~ export ~ '__' ~ source) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{%- endmacro %}


{#- Rows of a time that cannot be, and the reason; duplicates are counted elsewhere. -#}
{% macro untimely(rows, time, duplicates) -%}
    select
        case when r.{{ time }} < run.oldest then 'too_old' else 'after_run_date' end as reason,
        r._file_id,
        r._row
    from {{ rows }} as r
    cross join {{ source('ledger', '_run') }} as run
    where
        (r.{{ time }} >= run.as_of or r.{{ time }} < run.oldest)
        and not exists (
            select 1
            from {{ duplicates }} as d
            where d._file_id = r._file_id and d._row = r._row
        )
{%- endmacro %}


{#- Whether a row of an export reaches staging: neither a duplicate nor set aside. One anti-join over
    both: after two in a row the engine expects so few rows that it keeps all of them in memory. -#}
{% macro is_staged(row, export) -%}
    not exists (
        select 1
        from (
            select _file_id, _row from {{ ref('duplicate_' ~ export) }}
            union all
            select _file_id, _row from {{ ref('set_aside_' ~ export) }}
        ) as left_out
        where left_out._file_id = {{ row }}._file_id and left_out._row = {{ row }}._row
    )
{%- endmacro %}


{#- Touchpoints, each once, with channel and customer; see stg_touchpoints. -#}
{% macro staged_touchpoints(rows) -%}
    with touchpoints as (

        select *
        from {{ rows }} as t
        where {{ is_staged('t', 'touchpoints') }}

    )

    select
        t.touchpoint_id,
        coalesce(i.customer_id, t.customer_id) as customer_id,
        t.occurred_at,
        {{ channel_of('t') }} as channel,
        t.source,
        t.medium,
        t.campaign,
        t.interaction,
        t.mode,
        t.cost,
        i.customer_id is not null as was_anonymous
    from touchpoints as t
    left join {{ ref('stg_identities') }} as i
        on
            t.customer_id = i.anonymous_id
            and t.occurred_at > i.valid_after
            and t.occurred_at <= i.valid_until
    {{ beside_channel_map('t') }}
{%- endmacro %}


{#- The channel of touchpoints that stand beside the map of channels. -#}
{% macro channel_of(touchpoints) -%}
    coalesce({{ touchpoints }}.channel, m.channel)
{%- endmacro %}


{#- Touchpoints that were delivered without a channel beside the one that the rules give them. -#}
{% macro beside_channel_map(touchpoints) -%}
    left join {{ ref('stg_channel_map') }} as m
        on
            case
                when {{ touchpoints }}.channel is null then coalesce({{ touchpoints }}.source, '')
            end = m.source
            and coalesce({{ touchpoints }}.medium, '') = m.medium
            and coalesce({{ touchpoints }}.campaign, '') = m.campaign
{%- endmacro %}


{#- Rows that lose to another of the same key: the later file date wins, then the greater content
    hash; never the order of arrival. Only rows of new files can repeat what was not repeated before. -#}
{% macro losing_duplicates(rows, key, columns) -%}
    with repeated as (

        select {{ key | join(', ') }}
        from {{ rows }} as r
        {%- if is_by_difference() %}
        where
            exists (
                select 1
                from (
                    select {{ key | join(', ') }} from {{ this }}
                    union all
                    select {{ key | join(', ') }} from {{ rows }} where {{ is_new('_file_id') }}
                ) as suspect
                where
                    {%- for column in key %}
                    suspect.{{ column }} = r.{{ column }}{{ ' and' if not loop.last }}
                    {%- endfor %}
            )
        {%- endif %}
        group by {{ key | join(', ') }}
        having count(*) > 1

    ),

    file_dates as (

        select file_id, max(file_date) as file_date
        from {{ source('ledger', '_files') }}
        group by file_id

    ),

    hashed as (

        select
            {% for column in key -%} r.{{ column }}, {% endfor %}
            r._file_id,
            r._row,
            f.file_date,
            md5(concat_ws('|'
                {%- for column in columns if not column.startswith('_') -%}
                , coalesce(cast(r.{{ column }} as string), '~')
                {%- endfor -%}
            )) as content_hash
        from {{ rows }} as r
        inner join repeated on
            {%- for column in key %}
            r.{{ column }} = repeated.{{ column }}{{ ' and' if not loop.last }}
            {%- endfor %}
        left join file_dates as f on r._file_id = f.file_id

    ),

    ranked as (

        select
            *,
            row_number() over (
                partition by {{ key | join(', ') }}
                order by coalesce(file_date, date '0001-01-01') desc, content_hash desc,
                    _file_id desc, _row desc
            ) as place,
            first_value(content_hash) over (
                partition by {{ key | join(', ') }}
                order by coalesce(file_date, date '0001-01-01') desc, content_hash desc,
                    _file_id desc, _row desc
            ) as winning_hash
        from hashed

    )

    select
        {{ key | join(', ') }},
        _file_id,
        _row,
        content_hash <> winning_hash as is_conflict
    from ranked
    where place > 1
{%- endmacro %}

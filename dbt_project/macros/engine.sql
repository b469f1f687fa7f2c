{#- The few expressions that engines spell differently; one dispatch each. -#}

{% macro replicate_group(id, groups) -%}
    {{ adapter.dispatch('replicate_group')(id, groups) }}
{%- endmacro %}

{% macro default__replicate_group(id, groups) -%}
    cast(conv(substr(md5({{ id }}), 1, 8), 16, 10) as bigint) % {{ groups }}
{%- endmacro %}

{% macro duckdb__replicate_group(id, groups) -%}
    cast('0x' || substr(md5({{ id }}), 1, 8) as bigint) % {{ groups }}
{%- endmacro %}


{#- The calendar day of a UTC time in the reporting time zone. -#}
{% macro local_date(utc) -%}
    {{ adapter.dispatch('local_date')(utc) }}
{%- endmacro %}

{% macro default__local_date(utc) -%}
    cast(from_utc_timestamp({{ utc }}, '{{ var("reporting_timezone") }}') as date)
{%- endmacro %}

{% macro duckdb__local_date(utc) -%}
    cast(timezone('{{ var("reporting_timezone") }}', timezone('UTC', {{ utc }})) as date)
{%- endmacro %}


{#- Seconds, with their fraction, from one time to a later one. -#}
{% macro seconds_between(start, stop) -%}
    {{ adapter.dispatch('seconds_between')(start, stop) }}
{%- endmacro %}

{% macro default__seconds_between(start, stop) -%}
    (unix_micros({{ stop }}) - unix_micros({{ start }})) / 1000000.0
{%- endmacro %}

{% macro duckdb__seconds_between(start, stop) -%}
    (epoch_us({{ stop }}) - epoch_us({{ start }})) / 1000000.0
{%- endmacro %}


{% macro days_before(days, time) -%}
    {{ adapter.dispatch('days_before')(days, time) }}
{%- endmacro %}

{% macro default__days_before(days, time) -%}
    {{ time }} - make_interval(0, 0, 0, {{ days }})
{%- endmacro %}

{% macro duckdb__days_before(days, time) -%}
    {{ time }} - to_days(cast({{ days }} as integer))
{%- endmacro %}


{% macro median(number) -%}
    {{ adapter.dispatch('median')(number) }}
{%- endmacro %}

{% macro default__median(number) -%}
    percentile({{ number }}, 0.5)
{%- endmacro %}

{% macro duckdb__median(number) -%}
    median({{ number }})
{%- endmacro %}


{#- One bit of a coalition's word, and the union of such bits. -#}
{% macro bit(position) -%}
    {{ adapter.dispatch('bit')(position) }}
{%- endmacro %}

{% macro default__bit(position) -%}
    shiftleft(1L, {{ position }})
{%- endmacro %}

{% macro duckdb__bit(position) -%}
    (cast(1 as bigint) << ({{ position }}))
{%- endmacro %}


{#- A path: the channels of a journey in their order. -#}
{% macro joined_in_order(text, separator, position) -%}
    {{ adapter.dispatch('joined_in_order')(text, separator, position) }}
{%- endmacro %}

{% macro default__joined_in_order(text, separator, position) -%}
    array_join(
        transform(array_sort(collect_list(struct({{ position }}, {{ text }}))), x -> x.col2),
        '{{ separator }}'
    )
{%- endmacro %}

{% macro duckdb__joined_in_order(text, separator, position) -%}
    string_agg({{ text }}, '{{ separator }}' order by {{ position }})
{%- endmacro %}


{#- The nearest value that is not NULL, at or before a row and at or after it; the window follows. -#}
{% macro last_known(value) -%}
    {{ adapter.dispatch('last_known')(value) }}
{%- endmacro %}

{% macro default__last_known(value) -%}
    last_value({{ value }}) ignore nulls
{%- endmacro %}

{% macro duckdb__last_known(value) -%}
    last_value({{ value }} ignore nulls)
{%- endmacro %}


{% macro first_known(value) -%}
    {{ adapter.dispatch('first_known')(value) }}
{%- endmacro %}

{% macro default__first_known(value) -%}
    first_value({{ value }}) ignore nulls
{%- endmacro %}

{% macro duckdb__first_known(value) -%}
    first_value({{ value }} ignore nulls)
{%- endmacro %}


{% macro days_between(start, stop) -%}
    {{ adapter.dispatch('days_between')(start, stop) }}
{%- endmacro %}

{% macro default__days_between(start, stop) -%}
    datediff({{ stop }}, {{ start }})
{%- endmacro %}

{% macro duckdb__days_between(start, stop) -%}
    cast({{ stop }} - {{ start }} as integer)
{%- endmacro %}

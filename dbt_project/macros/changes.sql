{#- A night builds anew what changed: the rows of the customers in raw._changed_customers. A table of
    customers forgets theirs and gets them again; --full-refresh makes it whole. -#}

{#- Before such a model: its rows of changed customers leave, also of those who are gone. -#}
{% macro forget_changed_customers() -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where {{ is_changed('customer_key') }}
    {%- endif -%}
{%- endmacro %}


{#- Journeys that no one touched again close by time alone, and open where a run goes back. -#}
{% macro close_journeys() -%}
    {%- if is_incremental() -%}
        {%- set is_open = 'closes_at > (select as_of from ' ~ source('ledger', '_run') ~ ')' -%}
        update {{ this }}
        set outcome = case when {{ is_open }} then 'open' else 'null' end
        where outcome = case when {{ is_open }} then 'null' else 'open' end
    {%- endif -%}
{%- endmacro %}


{#- Customers whose first touch in the window is no longer inside. -#}
{% macro forget_entries_before_the_window() -%}
    {%- if is_incremental() -%}
        delete from {{ this }}
        where entered_at < (select window_from from {{ source('ledger', '_run') }})
    {%- endif -%}
{%- endmacro %}


{#- In such a model: which rows to build. -#}
{% macro is_to_build(customer_key) -%}
    {{ is_changed(customer_key) if is_incremental() else 'true' }}
{%- endmacro %}


{#- In such a model: the touchpoints to build it of. -#}
{% macro touchpoints_to_build() -%}
    {%- if not execute %}{% do ref('changed_touchpoints') %}{% endif -%}
    {{ return(ref('changed_touchpoints') if is_incremental() else ref('stg_touchpoints')) }}
{%- endmacro %}


{#- In models of journey_touchpoints: what this build wrote of it, which are the same rows. Whole stretches
    of that table are of one build, and those of others are not even read. -#}
{% macro is_built_now(touches) -%}
    {{ touches }}.build = (select build from {{ source('ledger', '_run') }})
{%- endmacro %}


{% macro is_changed(customer_key) -%}
    {{ customer_key }} in (select customer_key from {{ source('ledger', '_changed_customers') }})
{%- endmacro %}


{#- Whether a file came since the last build. -#}
{% macro is_new(file_id) -%}
    {{ file_id }} in (select file_id from {{ source('ledger', '_new_files') }})
{%- endmacro %}


{#- Whether a table of counts may take its own former rows, less what they counted of changed
    customers, plus what is true of these now. Not in unit tests, where tables are inputs alone. -#}
{% macro is_by_difference() -%}
    {{ return(
        execute
        and not flags.FULL_REFRESH
        and model.resource_type == 'model'
        and load_relation(this) is not none
    ) }}
{%- endmacro %}

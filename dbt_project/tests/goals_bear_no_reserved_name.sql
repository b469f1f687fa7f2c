{{ config(meta={"why": "cost stands in rows of the goal (all goals): rename the goal in the export, or in the source's model"}) }}

select distinct goal
from {{ ref('stg_conversions') }}
where goal = '(all goals)'

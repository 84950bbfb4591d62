"""Keep the candidates of a decision as one document of it.

A hundred rows for each decision, with two indexes and two foreign keys each, were four fifths of what a submission cost
the database. They are always written together and mostly read together. `candidates` becomes a view that shows them as
the rows that they were, those from before included: nothing is copied, whoever selects from it finds the same columns
(`id` is empty for candidates that have no row), and yesterday's code can still insert into it.

To unfold a document takes a millisecond or two, so the views that looked up the chosen candidate of each decision read
what stands elsewhere, its expected cost now in the decision; those that list candidates unfold one decision after the
other, not all of them before the first is asked for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_20"
down_revision = "2026_11_29_02"

NAMES = """
    decision_id, id, tenant_id, rank, offer_id, provider, region, country, gpu_type, gpu_count, layout, spot,
    micros_per_gpu_hour, price_date, provision_s, forecast, vram_p50_gib, vram_p95_gib, usable_vram_gib,
    fit_probability, runtime_p50_s, runtime_p90_s, cost_p50_micros, cost_p90_micros, expected_cost_micros, verdict,
    reason, reason_number, reason_text
"""

DOCUMENTS = """
SELECT d.id AS decision_id, {id} AS id, d.tenant_id, c.rank, c.offer_id, c.provider, c.region, c.country, c.gpu_type,
       c.gpu_count, c.layout::jsonb AS layout, c.spot,
       coalesce(round(c.usd_per_hour * 1000000 / c.gpu_count)::bigint, 0) AS micros_per_gpu_hour, c.price_date,
       c.provision_s, c.forecast::jsonb AS forecast,
       (c.forecast -> 'peak_vram_gib' ->> 'p50')::double precision AS vram_p50_gib,
       (c.forecast -> 'peak_vram_gib' ->> 'p95')::double precision AS vram_p95_gib,
       (c.forecast ->> 'usable_vram_gib')::double precision AS usable_vram_gib, c.fit_probability,
       (c.forecast -> 'runtime_s' ->> 'p50')::double precision AS runtime_p50_s,
       (c.forecast -> 'runtime_s' ->> 'p90')::double precision AS runtime_p90_s,
       round((c.cost_usd ->> 'p50')::numeric * 1000000)::bigint AS cost_p50_micros,
       round((c.cost_usd ->> 'p90')::numeric * 1000000)::bigint AS cost_p90_micros,
       round((c.cost_usd ->> 'expected')::numeric * 1000000)::bigint AS expected_cost_micros,
       c.verdict, c.reason, c.reason_number, c.reason_text
FROM decisions d
CROSS JOIN LATERAL json_to_recordset(d.candidates) AS c(
  rank bigint, offer_id uuid, provider text, region text, country text, gpu_type text, gpu_count bigint, layout json,
  spot boolean, usd_per_hour numeric, price_date text, provision_s double precision, forecast json,
  fit_probability double precision, cost_usd json, verdict text, reason text, reason_number double precision,
  reason_text text
)
"""

INSERT = f"""
CREATE FUNCTION insert_candidate_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO candidate_rows ({NAMES}) SELECT {NAMES} FROM (SELECT NEW.*) new;
  RETURN NEW;
END $$;
CREATE TRIGGER insert_candidate_row INSTEAD OF INSERT ON candidates
  FOR EACH ROW EXECUTE FUNCTION insert_candidate_row()
"""  # noqa: S608 - names of columns

DEFER = "ALTER TABLE candidate_rows ALTER CONSTRAINT fk_candidates_decision_id_decisions {how}"


# OFFSET 0 keeps the planner from unfolding all decisions first
WHY = """
CREATE VIEW why AS
SELECT d.job_id, j.name AS job, d.number AS decision, d.kind, d.decided_at, c.rank, c.gpu_type, c.gpu_count,
       c.provider, c.region, c.spot, c.verdict, c.reason, c.reason_number, c.reason_text,
       round(c.vram_p95_gib::numeric, 1) AS vram_p95_gib, round(c.usable_vram_gib::numeric, 1) AS usable_vram_gib,
       round(c.fit_probability::numeric, 3) AS fit_probability, round(c.runtime_p50_s::numeric, 1) AS runtime_p50_s,
       c.expected_cost_micros / 1e6::numeric AS expected_usd, d.model_version, c.price_date
FROM decisions d
JOIN jobs j ON j.id = d.job_id
CROSS JOIN LATERAL (SELECT * FROM candidates WHERE decision_id = coalesce(d.candidates_of, d.id) OFFSET 0) c
"""

PREDICTED_AND_ACTUAL = """
CREATE VIEW predicted_and_actual AS
SELECT a.job_id, j.name AS job, a.number AS attempt, a.gpu_type, a.gpu_count, a.provider, a.outcome, a.simulated,
       (a.forecast -> 'peak_vram_gib' ->> 'p50')::numeric AS vram_p50_gib,
       (a.forecast -> 'peak_vram_gib' ->> 'p95')::numeric AS vram_p95_gib,
       a.peak_vram_gib AS vram_gib,
       CASE WHEN a.vram_metric IS DISTINCT FROM 'preallocated'
            THEN (a.forecast ->> 'usable_vram_gib')::numeric - a.peak_vram_gib::numeric END AS unused_gib,
       (a.forecast -> 'runtime_s' ->> 'p10')::numeric AS runtime_p10_s,
       (a.forecast -> 'runtime_s' ->> 'p50')::numeric AS runtime_p50_s,
       (a.forecast -> 'runtime_s' ->> 'p90')::numeric AS runtime_p90_s,
       a.runtime_s, {expected} / 1e6::numeric AS expected_usd, a.cost_micros / 1e6::numeric AS usd,
       d.naive_cost_micros / 1e6::numeric AS naive_usd, a.forecast ->> 'basis' AS basis,
       (a.forecast ->> 'in_domain')::boolean AS in_domain, d.model_version, a.ended_at, a.vram_metric
FROM attempts a
JOIN jobs j ON j.id = a.job_id
LEFT JOIN decisions d ON d.id = a.decision_id
{join}
WHERE a.state = 'ended'
"""
CHOSEN = "LEFT JOIN candidates c ON c.decision_id = coalesce(d.candidates_of, d.id) AND c.verdict = 'chosen'"

# A wait or a refusal has no placement: the forecast of its nearest candidate is what it rests on
OUTSIDE_DOMAIN = """
CREATE VIEW outside_domain AS
SELECT d.job_id, j.name AS job, d.number AS decision, d.kind, d.decided_at, d.model_version,
       d.spec -> 'workload' ->> 'type' AS task, d.spec -> 'workload' ->> 'model' AS model,
       c.gpu_type, c.gpu_count, c.forecast ->> 'basis' AS basis,
       round(seen.vram_p95_gib / nullif(seen.vram_p50_gib, 0), 2) AS vram_p95_over_p50,
       round(seen.runtime_p90_s / nullif(seen.runtime_p50_s, 0), 2) AS runtime_p90_over_p50,
       CASE WHEN a.state = 'ended' THEN a.outcome END AS outcome,
       CASE WHEN a.state = 'ended' THEN a.simulated END AS simulated,
       CASE WHEN a.state = 'ended'
            THEN round(a.runtime_s::numeric / nullif(seen.runtime_p50_s, 0), 2) END AS runtime_over_p50,
       CASE WHEN a.state = 'ended' AND a.vram_metric IS DISTINCT FROM 'preallocated'
            THEN round(a.peak_vram_gib::numeric / nullif(seen.vram_p50_gib, 0), 2) END AS vram_over_p50
FROM decisions d
JOIN jobs j ON j.id = d.job_id
LEFT JOIN attempts a ON a.decision_id = d.id
CROSS JOIN LATERAL (
  SELECT a.gpu_type, a.gpu_count, a.forecast WHERE a.id IS NOT NULL
  UNION ALL
  SELECT gpu_type, gpu_count, forecast FROM candidates
  WHERE a.id IS NULL AND decision_id = coalesce(d.candidates_of, d.id) AND rank = 1
) c
CROSS JOIN LATERAL (
  SELECT (c.forecast -> 'peak_vram_gib' ->> 'p50')::numeric AS vram_p50_gib,
         (c.forecast -> 'peak_vram_gib' ->> 'p95')::numeric AS vram_p95_gib,
         (c.forecast -> 'runtime_s' ->> 'p50')::numeric AS runtime_p50_s,
         (c.forecast -> 'runtime_s' ->> 'p90')::numeric AS runtime_p90_s
) seen
WHERE d.in_domain IS NOT TRUE AND coalesce(d.in_domain, (c.forecast ->> 'in_domain')::boolean) = false
"""

EXPECTED = """
UPDATE decisions d SET expected_cost_micros = c.expected_cost_micros
FROM candidates c WHERE c.decision_id = coalesce(d.candidates_of, d.id) AND c.verdict = 'chosen'
"""


def upgrade() -> None:
    op.add_column("decisions", sa.Column("candidates", sa.JSON(), nullable=True))
    op.add_column("decisions", sa.Column("expected_cost_micros", sa.BigInteger(), nullable=True))
    op.execute(EXPECTED)
    readers = _take_down_readers()
    op.execute("ALTER TABLE candidates RENAME TO candidate_rows")
    # yesterday's code stores a decision and its candidates in one statement: behind the view they are two
    op.execute(DEFER.format(how="DEFERRABLE INITIALLY DEFERRED"))
    documents = DOCUMENTS.format(id="NULL::uuid")
    op.execute(f"CREATE VIEW candidates AS {documents} UNION ALL SELECT {NAMES} FROM candidate_rows")  # noqa: S608
    op.execute(INSERT)
    _put_up(readers, expected="d.expected_cost_micros", join="")


def downgrade() -> None:
    readers = _take_down_readers()
    op.execute("DROP VIEW predicted_and_actual")
    op.execute("DROP VIEW candidates; DROP FUNCTION insert_candidate_row()")
    op.execute(f"INSERT INTO candidate_rows ({NAMES}) {DOCUMENTS.format(id='gen_random_uuid()')}")
    op.execute(DEFER.format(how="NOT DEFERRABLE"))
    op.execute("ALTER TABLE candidate_rows RENAME TO candidates")
    _put_up(readers, expected="c.expected_cost_micros", join=CHOSEN)
    op.drop_column("decisions", "expected_cost_micros")
    op.drop_column("decisions", "candidates")


def _take_down_readers() -> list[tuple[str, str]]:
    """Drop the views that read candidates; their names and words."""
    readers = op.get_bind().execute(sa.text("""
        SELECT DISTINCT view.relname, pg_get_viewdef(view.oid) FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
        JOIN pg_class view ON view.oid = ev_class
        WHERE refobjid = 'candidates'::regclass AND view.relname <> 'candidates' ORDER BY view.relname
    """)).all()  # fmt: skip
    for name, _ in readers:
        op.execute(f"DROP VIEW {name}")
    return [(name, words) for name, words in readers]


def _put_up(readers: list[tuple[str, str]], *, expected: str, join: str) -> None:
    """Those that read candidates otherwise from now on, and the others in their own words."""
    written = {"why": WHY, "predicted_and_actual": PREDICTED_AND_ACTUAL.format(expected=expected, join=join)}
    for view in (written | {"outside_domain": OUTSIDE_DOMAIN}).values():
        op.execute(view)
    for name, words in readers:
        if name not in {*written, "outside_domain"}:
            op.execute(f"CREATE VIEW {name} AS {words}")

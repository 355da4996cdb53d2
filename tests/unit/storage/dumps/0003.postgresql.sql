SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alerts (
    fingerprint text NOT NULL COLLATE pg_catalog."C",
    incident_id text NOT NULL COLLATE pg_catalog."C",
    is_firing integer NOT NULL,
    received_at bigint NOT NULL,
    changes text NOT NULL
);
CREATE TABLE public.approvals (
    "position" bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    incident_id text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    body text NOT NULL,
    expires_at bigint
);
CREATE SEQUENCE public.approvals_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.approvals_position_seq OWNED BY public.approvals."position";
CREATE TABLE public.audit (
    sequence bigint NOT NULL,
    incident_id text COLLATE pg_catalog."C",
    hash text NOT NULL COLLATE pg_catalog."C",
    body text NOT NULL
);
CREATE TABLE public.audit_head (
    id integer NOT NULL,
    events bigint NOT NULL,
    hash text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.changes (
    change_id text NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL,
    received_at bigint NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.counters (
    name text NOT NULL COLLATE pg_catalog."C",
    value bigint NOT NULL
);
CREATE TABLE public.diagnoses (
    "position" bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    incident_id text NOT NULL COLLATE pg_catalog."C",
    made_at bigint NOT NULL,
    body text NOT NULL
);
CREATE SEQUENCE public.diagnoses_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.diagnoses_position_seq OWNED BY public.diagnoses."position";
CREATE TABLE public.evidence (
    "position" bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    incident_id text NOT NULL COLLATE pg_catalog."C",
    observed_at bigint NOT NULL,
    body text NOT NULL
);
CREATE SEQUENCE public.evidence_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.evidence_position_seq OWNED BY public.evidence."position";
CREATE TABLE public.executions (
    "position" bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    incident_id text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    intended_at bigint NOT NULL,
    body text NOT NULL
);
CREATE SEQUENCE public.executions_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.executions_position_seq OWNED BY public.executions."position";
CREATE TABLE public.iir_schema (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.inbox (
    id bigint NOT NULL,
    source text NOT NULL,
    received_at bigint NOT NULL,
    body bytea NOT NULL
);
CREATE SEQUENCE public.inbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.inbox_id_seq OWNED BY public.inbox.id;
CREATE TABLE public.inbox_rejected (
    id bigint NOT NULL,
    source text NOT NULL,
    received_at bigint NOT NULL,
    rejected_at bigint NOT NULL,
    reason text NOT NULL,
    size_bytes bigint NOT NULL,
    body bytea NOT NULL
);
CREATE TABLE public.incident_alerts (
    incident_id text NOT NULL COLLATE pg_catalog."C",
    fingerprint text NOT NULL COLLATE pg_catalog."C",
    joined_at bigint NOT NULL,
    link text NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.incidents (
    id text NOT NULL COLLATE pg_catalog."C",
    number bigint NOT NULL,
    version bigint NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    severity text NOT NULL COLLATE pg_catalog."C",
    assignee text COLLATE pg_catalog."C",
    ended_at bigint,
    search_text text NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.leases (
    name text NOT NULL COLLATE pg_catalog."C",
    holder text COLLATE pg_catalog."C",
    until bigint NOT NULL,
    token bigint NOT NULL,
    detail text NOT NULL
);
CREATE TABLE public.plans (
    "position" bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    incident_id text NOT NULL COLLATE pg_catalog."C",
    body text NOT NULL
);
CREATE SEQUENCE public.plans_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.plans_position_seq OWNED BY public.plans."position";
CREATE TABLE public.target_locks (
    target text NOT NULL COLLATE pg_catalog."C",
    holder text NOT NULL COLLATE pg_catalog."C",
    until bigint NOT NULL,
    token bigint NOT NULL
);
CREATE TABLE public.verifications (
    "position" bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    incident_id text NOT NULL COLLATE pg_catalog."C",
    body text NOT NULL
);
CREATE SEQUENCE public.verifications_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.verifications_position_seq OWNED BY public.verifications."position";
CREATE TABLE public.work (
    incident_id text NOT NULL COLLATE pg_catalog."C",
    due_at bigint,
    worker text COLLATE pg_catalog."C",
    leased_until bigint
);
ALTER TABLE ONLY public.approvals ALTER COLUMN "position" SET DEFAULT nextval('public.approvals_position_seq'::regclass);
ALTER TABLE ONLY public.diagnoses ALTER COLUMN "position" SET DEFAULT nextval('public.diagnoses_position_seq'::regclass);
ALTER TABLE ONLY public.evidence ALTER COLUMN "position" SET DEFAULT nextval('public.evidence_position_seq'::regclass);
ALTER TABLE ONLY public.executions ALTER COLUMN "position" SET DEFAULT nextval('public.executions_position_seq'::regclass);
ALTER TABLE ONLY public.inbox ALTER COLUMN id SET DEFAULT nextval('public.inbox_id_seq'::regclass);
ALTER TABLE ONLY public.plans ALTER COLUMN "position" SET DEFAULT nextval('public.plans_position_seq'::regclass);
ALTER TABLE ONLY public.verifications ALTER COLUMN "position" SET DEFAULT nextval('public.verifications_position_seq'::regclass);
INSERT INTO public.alerts VALUES ('01f72b4ed6c8805e', '019ced39-0000-7000-8000-000100000001', 1, 1773500966535897, '["2026-03-14T15:09:26.535897Z"]');
INSERT INTO public.alerts VALUES ('ab374e2cdb1f2d19', '019ced39-0000-7000-8000-000100000002', 0, 1773500966535897, '["2026-03-14T15:09:26.535897Z"]');
INSERT INTO public.approvals VALUES (1, '019ced39-0000-7000-8000-000200000004', '019ced39-0000-7000-8000-000100000001', 'approved', '{"id":"019ced39-0000-7000-8000-000200000004","incident_id":"019ced39-0000-7000-8000-000100000001","plan_id":"019ced39-0000-7000-8000-000200000003","plan_digest":"acf2202ccbfa9b2b6a649658cab13865f950b7db20f19f4f273da6870907949b","requested_at":"2026-03-14T15:09:26.535897Z","requested_by":"agent:resolution","expires_at":"2026-03-14T15:19:26.535897Z","status":"approved","decided_at":"2026-03-14T15:09:31.535897Z","decided_by":"alice","decided_via":"cli","reason":"looks right","notices":[]}', 1773501566535897);
INSERT INTO public.audit VALUES (1, '019ced39-0000-7000-8000-000100000001', 'ed2838f55447981f71215dbab0ab001d47aa934da131e598abd0475da1be6f06', '{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":0,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n0","previous_hash":"0000000000000000000000000000000000000000000000000000000000000000","sequence":1,"summary":"sample.n0"}');
INSERT INTO public.audit VALUES (2, '019ced39-0000-7000-8000-000100000001', 'f280844fb2351b6c7a5477f24e4c87838633091d52dbe961df976e06a39a7a47', '{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":1,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n1","previous_hash":"ed2838f55447981f71215dbab0ab001d47aa934da131e598abd0475da1be6f06","sequence":2,"summary":"sample.n1"}');
INSERT INTO public.audit VALUES (3, '019ced39-0000-7000-8000-000100000001', '6e67d9f07cfb514b95573f7fe3b494cfcaf75aba07544865fa54572a117c4a97', '{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":2,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n2","previous_hash":"f280844fb2351b6c7a5477f24e4c87838633091d52dbe961df976e06a39a7a47","sequence":3,"summary":"sample.n2"}');
INSERT INTO public.audit VALUES (4, '019ced39-0000-7000-8000-000100000001', 'e95379afc53fac708968f6ec68134bf9803a877f9e05995348ab963bbf68a7a6', '{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":3,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n3","previous_hash":"6e67d9f07cfb514b95573f7fe3b494cfcaf75aba07544865fa54572a117c4a97","sequence":4,"summary":"sample.n3"}');
INSERT INTO public.audit VALUES (5, '019ced39-0000-7000-8000-000100000001', '56d377766e719bf0b48b386e32c2e4cd9a9818a197dcea93571726a46442c8ff', '{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":4,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n4","previous_hash":"e95379afc53fac708968f6ec68134bf9803a877f9e05995348ab963bbf68a7a6","sequence":5,"summary":"sample.n4"}');
INSERT INTO public.audit_head VALUES (1, 5, '56d377766e719bf0b48b386e32c2e4cd9a9818a197dcea93571726a46442c8ff');
INSERT INTO public.changes VALUES ('sample:1', 1773500966535897, 1773500966535897, '{"kind":"change","change_id":"sample:1","what":"deploy","entity":null,"at":"2026-03-14T15:09:26.535897Z","summary":"checkout 1.2\u0000☃","author":null,"source":"changes","version":null,"link":null,"files":[],"diff":null,"is_ours":false}');
INSERT INTO public.counters VALUES ('incident_number', 2);
INSERT INTO public.counters VALUES ('fencing_token', 1);
INSERT INTO public.diagnoses VALUES (1, '019ced39-0000-7000-8000-000200000002', '019ced39-0000-7000-8000-000100000001', 1773500966535897, '{"id":"019ced39-0000-7000-8000-000200000002","incident_id":"019ced39-0000-7000-8000-000100000001","made_at":"2026-03-14T15:09:26.535897Z","verdict":"likely","hypotheses":[{"cause_id":"cpu","cause":"CPU is saturated","kind":"resource","entity":null,"confidence":0.8,"supporting":[],"contradicting":[],"missing":[],"suggestions":[],"runbook":null,"source":"rules"}],"summary":"CPU is saturated","missing":[],"evidence_ids":["019ced39-0000-7000-8000-000200000001"],"suspects":[]}');
INSERT INTO public.evidence VALUES (1, '019ced39-0000-7000-8000-000200000001', '019ced39-0000-7000-8000-000100000001', 1773500966535897, '{"id":"019ced39-0000-7000-8000-000200000001","incident_id":"019ced39-0000-7000-8000-000100000001","source":"prometheus","summary":"CPU use rose","finding":{"kind":"metric","signal":"cpu_use","entity":["host","web-1"],"shape":"level_shift","baseline":0.2,"current":0.97,"peak":0.99,"effect":"Infinity","slope_per_hour":0.0,"onset":null,"samples":[[1.0,0.2],[2.0,0.97]],"baseline_end":null,"period_s":null,"title":null},"query":null,"link":null,"window":null,"observed_at":"2026-03-14T15:09:26.535897Z","is_partial":false}');
INSERT INTO public.executions VALUES (1, '019ced39-0000-7000-8000-000200000005', '019ced39-0000-7000-8000-000100000001', '019ced39-0000-7000-8000-000100000001/acf2202ccbfa9b2b6a649658cab13865f950b7db20f19f4f273da6870907949b/1/1', 'finished', 1773500966535897, '{"id":"019ced39-0000-7000-8000-000200000005","key":"019ced39-0000-7000-8000-000100000001/acf2202ccbfa9b2b6a649658cab13865f950b7db20f19f4f273da6870907949b/1/1","incident_id":"019ced39-0000-7000-8000-000100000001","plan_id":"019ced39-0000-7000-8000-000200000003","plan_digest":"acf2202ccbfa9b2b6a649658cab13865f950b7db20f19f4f273da6870907949b","step":1,"attempt":1,"action":{"kind":"restart_service","parameters":{"service":"checkout"}},"target":["service","checkout"],"host":null,"state":"finished","intended_at":"2026-03-14T15:09:26.535897Z","started_at":null,"ended_at":"2026-03-14T15:09:46.535897Z","before":null,"results":[{"command":["true"],"exit_status":0,"output":"","is_truncated":false,"duration_s":0.0}],"error":null,"is_undo":false}');
INSERT INTO public.iir_schema VALUES ('0003');
INSERT INTO public.inbox VALUES (2, 'alertmanager', 1773500966535897, '\x77616974696e672000ff');
INSERT INTO public.inbox_rejected VALUES (1, 'alerts', 1773500966535897, 1773500966535897, 'no JSON', 6, '\x6261642000ff');
INSERT INTO public.incident_alerts VALUES ('019ced39-0000-7000-8000-000100000001', '01f72b4ed6c8805e', 1773500966535897, '{"incident_id":"019ced39-0000-7000-8000-000100000001","fingerprint":"01f72b4ed6c8805e","joined_at":"2026-03-14T15:09:26.535897Z","reason":"the first alert","score":1.0}', '{"fingerprint":"01f72b4ed6c8805e","name":"ServiceDown","status":"firing","severity":"critical","labels":{"alertname":"ServiceDown","instance":"web-1:9100","text":"\u0000 '' ☃"},"annotations":{"summary":"it is down"},"starts_at":"2026-03-14T15:09:26.535897Z","ends_at":null,"received_at":"2026-03-14T15:09:26.535897Z","generator_url":null,"source":"alertmanager","entities":[["host","web-1"]],"component":"node","tags":["node"]}');
INSERT INTO public.incident_alerts VALUES ('019ced39-0000-7000-8000-000100000002', 'ab374e2cdb1f2d19', 1773500966535897, '{"incident_id":"019ced39-0000-7000-8000-000100000002","fingerprint":"ab374e2cdb1f2d19","joined_at":"2026-03-14T15:09:26.535897Z","reason":"the first alert","score":1.0}', '{"fingerprint":"ab374e2cdb1f2d19","name":"ServiceDown","status":"resolved","severity":"critical","labels":{"alertname":"ServiceDown","instance":"web-1:9100","text":"\u0000 '' ☃"},"annotations":{"summary":"it is down"},"starts_at":"2026-03-14T15:09:26.535897Z","ends_at":"2026-03-14T15:10:26.535897Z","received_at":"2026-03-14T15:09:26.535897Z","generator_url":null,"source":"alertmanager","entities":[["host","web-1"]],"component":"node","tags":["node"]}');
INSERT INTO public.incidents VALUES ('019ced39-0000-7000-8000-000100000001', 1, 1, 'investigating', 'high', 'alice', NULL, 'inc-000001
checkout is down� ‮
web-1
checkout', '{"id":"019ced39-0000-7000-8000-000100000001","key":"INC-000001","title":"Checkout is down\u0000 ‮","description":"","severity":"high","status":"investigating","affected_systems":["web-1","checkout"],"tags":[],"opened_at":"2026-03-14T15:09:27.535897Z","updated_at":"2026-03-14T15:09:27.535897Z","resolved_at":null,"closed_at":null,"assignee":"alice","written_up_at":null,"escalation":null,"halt":null,"firing_alerts":0,"total_alerts":0,"is_flapping":false,"reopened_count":0,"episode":0,"footprint":{"entities":[],"core":[],"labels":{},"alert_names":[],"first_alert_at":null,"last_alert_at":null},"version":1}');
INSERT INTO public.incidents VALUES ('019ced39-0000-7000-8000-000100000002', 2, 1, 'closed', 'high', NULL, 1773501266535897, 'inc-000002
incident 2
', '{"id":"019ced39-0000-7000-8000-000100000002","key":"INC-000002","title":"Incident 2","description":"","severity":"high","status":"closed","affected_systems":[],"tags":[],"opened_at":"2026-03-14T15:09:28.535897Z","updated_at":"2026-03-14T15:14:26.535897Z","resolved_at":null,"closed_at":"2026-03-14T15:14:26.535897Z","assignee":null,"written_up_at":null,"escalation":null,"halt":null,"firing_alerts":0,"total_alerts":0,"is_flapping":false,"reopened_count":0,"episode":0,"footprint":{"entities":[],"core":[],"labels":{},"alert_names":[],"first_alert_at":null,"last_alert_at":null},"version":1}');
INSERT INTO public.leases VALUES ('engine', 'one', 1773500996535897, 1, '127.0.0.1:1');
INSERT INTO public.plans VALUES (1, '019ced39-0000-7000-8000-000200000003', '019ced39-0000-7000-8000-000100000001', '{"id":"019ced39-0000-7000-8000-000200000003","incident_id":"019ced39-0000-7000-8000-000100000001","diagnosis_id":"019ced39-0000-7000-8000-000200000002","made_at":"2026-03-14T15:09:26.535897Z","reason":"service down","steps":[{"number":1,"action":{"kind":"restart_service","parameters":{"service":"checkout"}},"executor":"ssh","target":["service","checkout"],"host":"web-1","commands":[["sudo","systemctl","restart","checkout"]],"description":"Restart checkout on web-1","risk":"medium","reversibility":"nothing_to_undo","checks":[],"undo":null,"policy":"","notes":[]}],"episode":0,"needs_approval":true,"is_forbidden":null}');
INSERT INTO public.target_locks VALUES ('host web-1', 'INC-000001', 1773501026535897, 1);
INSERT INTO public.verifications VALUES (1, '019ced39-0000-7000-8000-000200000006', '019ced39-0000-7000-8000-000100000001', '{"id":"019ced39-0000-7000-8000-000200000006","incident_id":"019ced39-0000-7000-8000-000100000001","plan_id":"019ced39-0000-7000-8000-000200000003","result":"verified","started_at":"2026-03-14T15:09:26.535897Z","ended_at":"2026-03-14T15:10:26.535897Z","soak_s":60.0,"readings":[],"reason":"all checks held"}');
INSERT INTO public.work VALUES ('019ced39-0000-7000-8000-000100000001', 1773500966535897, NULL, NULL);
SELECT pg_catalog.setval('public.approvals_position_seq', 1, true);
SELECT pg_catalog.setval('public.diagnoses_position_seq', 1, true);
SELECT pg_catalog.setval('public.evidence_position_seq', 1, true);
SELECT pg_catalog.setval('public.executions_position_seq', 1, true);
SELECT pg_catalog.setval('public.inbox_id_seq', 2, true);
SELECT pg_catalog.setval('public.plans_position_seq', 1, true);
SELECT pg_catalog.setval('public.verifications_position_seq', 1, true);
ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (fingerprint);
ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT approvals_id_key UNIQUE (id);
ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT approvals_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.audit_head
    ADD CONSTRAINT audit_head_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (sequence);
ALTER TABLE ONLY public.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (change_id);
ALTER TABLE ONLY public.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.diagnoses
    ADD CONSTRAINT diagnoses_id_key UNIQUE (id);
ALTER TABLE ONLY public.diagnoses
    ADD CONSTRAINT diagnoses_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.evidence
    ADD CONSTRAINT evidence_id_key UNIQUE (id);
ALTER TABLE ONLY public.evidence
    ADD CONSTRAINT evidence_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.executions
    ADD CONSTRAINT executions_id_key UNIQUE (id);
ALTER TABLE ONLY public.executions
    ADD CONSTRAINT executions_key_key UNIQUE (key);
ALTER TABLE ONLY public.executions
    ADD CONSTRAINT executions_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.iir_schema
    ADD CONSTRAINT iir_schema_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.inbox_rejected
    ADD CONSTRAINT inbox_rejected_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.incident_alerts
    ADD CONSTRAINT incident_alerts_pkey PRIMARY KEY (incident_id, fingerprint);
ALTER TABLE ONLY public.incidents
    ADD CONSTRAINT incidents_number_key UNIQUE (number);
ALTER TABLE ONLY public.incidents
    ADD CONSTRAINT incidents_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_id_key UNIQUE (id);
ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.target_locks
    ADD CONSTRAINT target_locks_pkey PRIMARY KEY (target);
ALTER TABLE ONLY public.verifications
    ADD CONSTRAINT verifications_id_key UNIQUE (id);
ALTER TABLE ONLY public.verifications
    ADD CONSTRAINT verifications_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.work
    ADD CONSTRAINT work_pkey PRIMARY KEY (incident_id);
CREATE INDEX ix_alerts_incident_id ON public.alerts USING btree (incident_id);
CREATE INDEX ix_alerts_is_firing_received_at ON public.alerts USING btree (is_firing, received_at);
CREATE INDEX ix_alerts_received_at ON public.alerts USING btree (received_at);
CREATE INDEX ix_approvals_incident_id ON public.approvals USING btree (incident_id);
CREATE INDEX ix_approvals_status ON public.approvals USING btree (status);
CREATE INDEX ix_approvals_status_expires_at ON public.approvals USING btree (status, expires_at);
CREATE INDEX ix_audit_incident_id ON public.audit USING btree (incident_id);
CREATE INDEX ix_changes_at ON public.changes USING btree (at);
CREATE INDEX ix_changes_received_at ON public.changes USING btree (received_at);
CREATE INDEX ix_diagnoses_incident_id ON public.diagnoses USING btree (incident_id);
CREATE INDEX ix_evidence_incident_id ON public.evidence USING btree (incident_id);
CREATE INDEX ix_executions_incident_id ON public.executions USING btree (incident_id);
CREATE INDEX ix_executions_state_intended_at ON public.executions USING btree (state, intended_at);
CREATE INDEX ix_inbox_rejected_rejected_at ON public.inbox_rejected USING btree (rejected_at);
CREATE INDEX ix_incident_alerts_fingerprint ON public.incident_alerts USING btree (fingerprint);
CREATE INDEX ix_incidents_ended_at ON public.incidents USING btree (ended_at);
CREATE INDEX ix_plans_incident_id ON public.plans USING btree (incident_id);
CREATE INDEX ix_verifications_incident_id ON public.verifications USING btree (incident_id);
CREATE INDEX ix_work_due_at_incident_id ON public.work USING btree (due_at, incident_id);
CREATE INDEX ix_work_leased_until ON public.work USING btree (leased_until);
ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.approvals
    ADD CONSTRAINT approvals_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.diagnoses
    ADD CONSTRAINT diagnoses_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.evidence
    ADD CONSTRAINT evidence_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.executions
    ADD CONSTRAINT executions_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.incident_alerts
    ADD CONSTRAINT incident_alerts_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.verifications
    ADD CONSTRAINT verifications_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.work
    ADD CONSTRAINT work_incident_id_fkey FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;

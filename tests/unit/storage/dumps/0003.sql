BEGIN TRANSACTION;
CREATE TABLE alerts (
	fingerprint TEXT NOT NULL, 
	incident_id TEXT NOT NULL, 
	is_firing INTEGER NOT NULL, 
	received_at BIGINT NOT NULL, 
	changes TEXT NOT NULL, 
	PRIMARY KEY (fingerprint), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "alerts" VALUES('01f72b4ed6c8805e','019ced39-0000-7000-8000-000100000001',1,1773500966535897,'["2026-03-14T15:09:26.535897Z"]');
INSERT INTO "alerts" VALUES('ab374e2cdb1f2d19','019ced39-0000-7000-8000-000100000002',0,1773500966535897,'["2026-03-14T15:09:26.535897Z"]');
CREATE TABLE approvals (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	incident_id TEXT NOT NULL, 
	status TEXT NOT NULL, 
	body TEXT NOT NULL, expires_at BIGINT, 
	UNIQUE (id), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "approvals" VALUES(1,'019ced39-0000-7000-8000-000200000004','019ced39-0000-7000-8000-000100000001','approved','{"id":"019ced39-0000-7000-8000-000200000004","incident_id":"019ced39-0000-7000-8000-000100000001","plan_id":"019ced39-0000-7000-8000-000200000003","plan_digest":"acf2202ccbfa9b2b6a649658cab13865f950b7db20f19f4f273da6870907949b","requested_at":"2026-03-14T15:09:26.535897Z","requested_by":"agent:resolution","expires_at":"2026-03-14T15:19:26.535897Z","status":"approved","decided_at":"2026-03-14T15:09:31.535897Z","decided_by":"alice","decided_via":"cli","reason":"looks right","notices":[]}',1773501566535897);
CREATE TABLE audit (
	sequence BIGINT NOT NULL, 
	incident_id TEXT, 
	hash TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (sequence)
);
INSERT INTO "audit" VALUES(1,'019ced39-0000-7000-8000-000100000001','ed2838f55447981f71215dbab0ab001d47aa934da131e598abd0475da1be6f06','{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":0,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n0","previous_hash":"0000000000000000000000000000000000000000000000000000000000000000","sequence":1,"summary":"sample.n0"}');
INSERT INTO "audit" VALUES(2,'019ced39-0000-7000-8000-000100000001','f280844fb2351b6c7a5477f24e4c87838633091d52dbe961df976e06a39a7a47','{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":1,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n1","previous_hash":"ed2838f55447981f71215dbab0ab001d47aa934da131e598abd0475da1be6f06","sequence":2,"summary":"sample.n1"}');
INSERT INTO "audit" VALUES(3,'019ced39-0000-7000-8000-000100000001','6e67d9f07cfb514b95573f7fe3b494cfcaf75aba07544865fa54572a117c4a97','{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":2,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n2","previous_hash":"f280844fb2351b6c7a5477f24e4c87838633091d52dbe961df976e06a39a7a47","sequence":3,"summary":"sample.n2"}');
INSERT INTO "audit" VALUES(4,'019ced39-0000-7000-8000-000100000001','e95379afc53fac708968f6ec68134bf9803a877f9e05995348ab963bbf68a7a6','{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":3,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n3","previous_hash":"6e67d9f07cfb514b95573f7fe3b494cfcaf75aba07544865fa54572a117c4a97","sequence":4,"summary":"sample.n3"}');
INSERT INTO "audit" VALUES(5,'019ced39-0000-7000-8000-000100000001','56d377766e719bf0b48b386e32c2e4cd9a9818a197dcea93571726a46442c8ff','{"actor":"user:alice","at":"2026-03-14T15:09:26.535897Z","details":{"n":4,"text":"\u0000☃"},"incident_id":"019ced39-0000-7000-8000-000100000001","kind":"sample.n4","previous_hash":"e95379afc53fac708968f6ec68134bf9803a877f9e05995348ab963bbf68a7a6","sequence":5,"summary":"sample.n4"}');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	events BIGINT NOT NULL, 
	hash TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,5,'56d377766e719bf0b48b386e32c2e4cd9a9818a197dcea93571726a46442c8ff');
CREATE TABLE changes (
	change_id TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	received_at BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (change_id)
);
INSERT INTO "changes" VALUES('sample:1',1773500966535897,1773500966535897,'{"kind":"change","change_id":"sample:1","what":"deploy","entity":null,"at":"2026-03-14T15:09:26.535897Z","summary":"checkout 1.2\u0000☃","author":null,"source":"changes","version":null,"link":null,"files":[],"diff":null,"is_ours":false}');
CREATE TABLE counters (
	name TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "counters" VALUES('incident_number',2);
INSERT INTO "counters" VALUES('fencing_token',1);
CREATE TABLE diagnoses (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	incident_id TEXT NOT NULL, 
	made_at BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	UNIQUE (id), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "diagnoses" VALUES(1,'019ced39-0000-7000-8000-000200000002','019ced39-0000-7000-8000-000100000001',1773500966535897,'{"id":"019ced39-0000-7000-8000-000200000002","incident_id":"019ced39-0000-7000-8000-000100000001","made_at":"2026-03-14T15:09:26.535897Z","verdict":"likely","hypotheses":[{"cause_id":"cpu","cause":"CPU is saturated","kind":"resource","entity":null,"confidence":0.8,"supporting":[],"contradicting":[],"missing":[],"suggestions":[],"runbook":null,"source":"rules"}],"summary":"CPU is saturated","missing":[],"evidence_ids":["019ced39-0000-7000-8000-000200000001"],"suspects":[]}');
CREATE TABLE evidence (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	incident_id TEXT NOT NULL, 
	observed_at BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	UNIQUE (id), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "evidence" VALUES(1,'019ced39-0000-7000-8000-000200000001','019ced39-0000-7000-8000-000100000001',1773500966535897,'{"id":"019ced39-0000-7000-8000-000200000001","incident_id":"019ced39-0000-7000-8000-000100000001","source":"prometheus","summary":"CPU use rose","finding":{"kind":"metric","signal":"cpu_use","entity":["host","web-1"],"shape":"level_shift","baseline":0.2,"current":0.97,"peak":0.99,"effect":"Infinity","slope_per_hour":0.0,"onset":null,"samples":[[1.0,0.2],[2.0,0.97]],"baseline_end":null,"period_s":null,"title":null},"query":null,"link":null,"window":null,"observed_at":"2026-03-14T15:09:26.535897Z","is_partial":false}');
CREATE TABLE executions (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	incident_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	state TEXT NOT NULL, 
	intended_at BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	UNIQUE (id), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE, 
	UNIQUE ("key")
);
INSERT INTO "executions" VALUES(1,'019ced39-0000-7000-8000-000200000005','019ced39-0000-7000-8000-000100000001','019ced39-0000-7000-8000-000100000001/acf2202ccbfa9b2b6a649658cab13865f950b7db20f19f4f273da6870907949b/1/1','finished',1773500966535897,'{"id":"019ced39-0000-7000-8000-000200000005","key":"019ced39-0000-7000-8000-000100000001/acf2202ccbfa9b2b6a649658cab13865f950b7db20f19f4f273da6870907949b/1/1","incident_id":"019ced39-0000-7000-8000-000100000001","plan_id":"019ced39-0000-7000-8000-000200000003","plan_digest":"acf2202ccbfa9b2b6a649658cab13865f950b7db20f19f4f273da6870907949b","step":1,"attempt":1,"action":{"kind":"restart_service","parameters":{"service":"checkout"}},"target":["service","checkout"],"host":null,"state":"finished","intended_at":"2026-03-14T15:09:26.535897Z","started_at":null,"ended_at":"2026-03-14T15:09:46.535897Z","before":null,"results":[{"command":["true"],"exit_status":0,"output":"","is_truncated":false,"duration_s":0.0}],"error":null,"is_undo":false}');
CREATE TABLE iir_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT iir_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "iir_schema" VALUES('0003');
CREATE TABLE inbox (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	source TEXT NOT NULL, 
	received_at BIGINT NOT NULL, 
	body BLOB NOT NULL
);
INSERT INTO "inbox" VALUES(2,'alertmanager',1773500966535897,X'77616974696E672000FF');
CREATE TABLE inbox_rejected (
	id BIGINT NOT NULL, 
	source TEXT NOT NULL, 
	received_at BIGINT NOT NULL, 
	rejected_at BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	body BLOB NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "inbox_rejected" VALUES(1,'alerts',1773500966535897,1773500966535897,'no JSON',6,X'6261642000FF');
CREATE TABLE incident_alerts (
	incident_id TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	joined_at BIGINT NOT NULL, 
	link TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (incident_id, fingerprint), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "incident_alerts" VALUES('019ced39-0000-7000-8000-000100000001','01f72b4ed6c8805e',1773500966535897,'{"incident_id":"019ced39-0000-7000-8000-000100000001","fingerprint":"01f72b4ed6c8805e","joined_at":"2026-03-14T15:09:26.535897Z","reason":"the first alert","score":1.0}','{"fingerprint":"01f72b4ed6c8805e","name":"ServiceDown","status":"firing","severity":"critical","labels":{"alertname":"ServiceDown","instance":"web-1:9100","text":"\u0000 '' ☃"},"annotations":{"summary":"it is down"},"starts_at":"2026-03-14T15:09:26.535897Z","ends_at":null,"received_at":"2026-03-14T15:09:26.535897Z","generator_url":null,"source":"alertmanager","entities":[["host","web-1"]],"component":"node","tags":["node"]}');
INSERT INTO "incident_alerts" VALUES('019ced39-0000-7000-8000-000100000002','ab374e2cdb1f2d19',1773500966535897,'{"incident_id":"019ced39-0000-7000-8000-000100000002","fingerprint":"ab374e2cdb1f2d19","joined_at":"2026-03-14T15:09:26.535897Z","reason":"the first alert","score":1.0}','{"fingerprint":"ab374e2cdb1f2d19","name":"ServiceDown","status":"resolved","severity":"critical","labels":{"alertname":"ServiceDown","instance":"web-1:9100","text":"\u0000 '' ☃"},"annotations":{"summary":"it is down"},"starts_at":"2026-03-14T15:09:26.535897Z","ends_at":"2026-03-14T15:10:26.535897Z","received_at":"2026-03-14T15:09:26.535897Z","generator_url":null,"source":"alertmanager","entities":[["host","web-1"]],"component":"node","tags":["node"]}');
CREATE TABLE incidents (
	id TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	version BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	severity TEXT NOT NULL, 
	assignee TEXT, 
	ended_at BIGINT, 
	search_text TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (number)
);
INSERT INTO "incidents" VALUES('019ced39-0000-7000-8000-000100000001',1,1,'investigating','high','alice',NULL,'inc-000001
checkout is down� ‮

web-1
checkout','{"id":"019ced39-0000-7000-8000-000100000001","key":"INC-000001","title":"Checkout is down\u0000 ‮","description":"","severity":"high","status":"investigating","affected_systems":["web-1","checkout"],"tags":[],"opened_at":"2026-03-14T15:09:27.535897Z","updated_at":"2026-03-14T15:09:27.535897Z","resolved_at":null,"closed_at":null,"assignee":"alice","written_up_at":null,"escalation":null,"halt":null,"firing_alerts":0,"total_alerts":0,"is_flapping":false,"reopened_count":0,"episode":0,"footprint":{"entities":[],"core":[],"labels":{},"alert_names":[],"first_alert_at":null,"last_alert_at":null},"version":1}');
INSERT INTO "incidents" VALUES('019ced39-0000-7000-8000-000100000002',2,1,'closed','high',NULL,1773501266535897,'inc-000002
incident 2
','{"id":"019ced39-0000-7000-8000-000100000002","key":"INC-000002","title":"Incident 2","description":"","severity":"high","status":"closed","affected_systems":[],"tags":[],"opened_at":"2026-03-14T15:09:28.535897Z","updated_at":"2026-03-14T15:14:26.535897Z","resolved_at":null,"closed_at":"2026-03-14T15:14:26.535897Z","assignee":null,"written_up_at":null,"escalation":null,"halt":null,"firing_alerts":0,"total_alerts":0,"is_flapping":false,"reopened_count":0,"episode":0,"footprint":{"entities":[],"core":[],"labels":{},"alert_names":[],"first_alert_at":null,"last_alert_at":null},"version":1}');
CREATE TABLE leases (
	name TEXT NOT NULL, 
	holder TEXT, 
	until BIGINT NOT NULL, 
	token BIGINT NOT NULL, 
	detail TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('engine','one',1773500996535897,1,'127.0.0.1:1');
CREATE TABLE plans (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	incident_id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	UNIQUE (id), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "plans" VALUES(1,'019ced39-0000-7000-8000-000200000003','019ced39-0000-7000-8000-000100000001','{"id":"019ced39-0000-7000-8000-000200000003","incident_id":"019ced39-0000-7000-8000-000100000001","diagnosis_id":"019ced39-0000-7000-8000-000200000002","made_at":"2026-03-14T15:09:26.535897Z","reason":"service down","steps":[{"number":1,"action":{"kind":"restart_service","parameters":{"service":"checkout"}},"executor":"ssh","target":["service","checkout"],"host":"web-1","commands":[["sudo","systemctl","restart","checkout"]],"description":"Restart checkout on web-1","risk":"medium","reversibility":"nothing_to_undo","checks":[],"undo":null,"policy":"","notes":[]}],"episode":0,"needs_approval":true,"is_forbidden":null}');
CREATE TABLE target_locks (
	target TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	until BIGINT NOT NULL, 
	token BIGINT NOT NULL, 
	PRIMARY KEY (target)
);
INSERT INTO "target_locks" VALUES('host web-1','INC-000001',1773501026535897,1);
CREATE TABLE verifications (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	incident_id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	UNIQUE (id), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "verifications" VALUES(1,'019ced39-0000-7000-8000-000200000006','019ced39-0000-7000-8000-000100000001','{"id":"019ced39-0000-7000-8000-000200000006","incident_id":"019ced39-0000-7000-8000-000100000001","plan_id":"019ced39-0000-7000-8000-000200000003","result":"verified","started_at":"2026-03-14T15:09:26.535897Z","ended_at":"2026-03-14T15:10:26.535897Z","soak_s":60.0,"readings":[],"reason":"all checks held"}');
CREATE TABLE work (
	incident_id TEXT NOT NULL, 
	due_at BIGINT, 
	worker TEXT, 
	leased_until BIGINT, 
	PRIMARY KEY (incident_id), 
	FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "work" VALUES('019ced39-0000-7000-8000-000100000001',1773500966535897,NULL,NULL);
CREATE INDEX ix_inbox_rejected_rejected_at ON inbox_rejected (rejected_at);
CREATE INDEX ix_incidents_ended_at ON incidents (ended_at);
CREATE INDEX ix_incident_alerts_fingerprint ON incident_alerts (fingerprint);
CREATE INDEX ix_alerts_is_firing_received_at ON alerts (is_firing, received_at);
CREATE INDEX ix_alerts_received_at ON alerts (received_at);
CREATE INDEX ix_alerts_incident_id ON alerts (incident_id);
CREATE INDEX ix_evidence_incident_id ON evidence (incident_id);
CREATE INDEX ix_diagnoses_incident_id ON diagnoses (incident_id);
CREATE INDEX ix_plans_incident_id ON plans (incident_id);
CREATE INDEX ix_verifications_incident_id ON verifications (incident_id);
CREATE INDEX ix_approvals_status ON approvals (status);
CREATE INDEX ix_approvals_incident_id ON approvals (incident_id);
CREATE INDEX ix_executions_incident_id ON executions (incident_id);
CREATE INDEX ix_executions_state_intended_at ON executions (state, intended_at);
CREATE INDEX ix_work_leased_until ON work (leased_until);
CREATE INDEX ix_audit_incident_id ON audit (incident_id);
CREATE INDEX ix_work_due_at_incident_id ON work (due_at, incident_id);
CREATE INDEX ix_approvals_status_expires_at ON approvals (status, expires_at);
CREATE INDEX ix_changes_at ON changes (at);
CREATE INDEX ix_changes_received_at ON changes (received_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('inbox',2);
INSERT INTO "sqlite_sequence" VALUES('evidence',1);
INSERT INTO "sqlite_sequence" VALUES('diagnoses',1);
INSERT INTO "sqlite_sequence" VALUES('plans',1);
INSERT INTO "sqlite_sequence" VALUES('approvals',1);
INSERT INTO "sqlite_sequence" VALUES('executions',1);
INSERT INTO "sqlite_sequence" VALUES('verifications',1);
COMMIT;

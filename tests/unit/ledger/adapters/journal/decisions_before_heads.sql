BEGIN TRANSACTION;
CREATE TABLE decision (
	decision_id INTEGER NOT NULL, 
	request_id BLOB NOT NULL, 
	decide_unix_us BIGINT NOT NULL, 
	actor TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	workload TEXT NOT NULL, 
	"before" TEXT NOT NULL, 
	"after" TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	policy_version BIGINT NOT NULL, 
	entry_sha256 BLOB NOT NULL, 
	PRIMARY KEY (decision_id), 
	UNIQUE (request_id), 
	UNIQUE (policy_version)
);
INSERT INTO "decision" VALUES(1,X'00000000000000000000000000000000',1700000000000000,'old@example','the workload was registered','ticket-triage','','{"allowed_regions": ["eu"], "allowed_targets": [2], "fallback_allowed": false, "sovereign_share_ppm": 0, "stage": 1, "workload": "ticket-triage"}','{"log_k": 3.25, "n": 400, "note": "\u00df"}',1,X'C4C6D25DE6C494DDCCA6D03CA957A5BE6127BC8915CC093D01AAC9A2A7E02879');
INSERT INTO "decision" VALUES(2,X'01010101010101010101010101010101',1700000000000001,'old@example','Zürich says: ready','ticket-triage','{"allowed_regions": ["eu"], "allowed_targets": [2], "fallback_allowed": false, "sovereign_share_ppm": 0, "stage": 1, "workload": "ticket-triage"}','{"allowed_regions": ["eu"], "allowed_targets": [2], "fallback_allowed": false, "sovereign_share_ppm": 0, "stage": 2, "workload": "ticket-triage"}','{"log_k": 3.25, "n": 400, "note": "\u00df"}',2,X'E961DC08704203102D37FAE736729741496AC2BB205B7B610BABAA04EE871215');
INSERT INTO "decision" VALUES(3,X'02020202020202020202020202020202',1700000000000002,'old@example','the workload was registered','notes','','{"allowed_regions": ["eu"], "allowed_targets": [2], "fallback_allowed": false, "sovereign_share_ppm": 0, "stage": 1, "workload": "notes"}','{"log_k": 3.25, "n": 400, "note": "\u00df"}',3,X'2FA2589F48EF0000AB81646ECBA625B0FBFDAEAC2DA1DD959BA351BC6D105EC9');
INSERT INTO "decision" VALUES(4,X'03030303030303030303030303030303',1700000000000003,'old@example','n=400, log K = 3.2','ticket-triage','{"allowed_regions": ["eu"], "allowed_targets": [2], "fallback_allowed": false, "sovereign_share_ppm": 0, "stage": 2, "workload": "ticket-triage"}','{"allowed_regions": ["eu"], "allowed_targets": [2], "fallback_allowed": false, "sovereign_share_ppm": 50000, "stage": 3, "workload": "ticket-triage"}','{"log_k": 3.25, "n": 400, "note": "\u00df"}',4,X'4C3ADE1F37EF25F4CFE81528A6389709AD9244AF7E3CCA9A2986F698ADBB3157');
CREATE INDEX ix_decision_workload ON decision (workload);
COMMIT;
